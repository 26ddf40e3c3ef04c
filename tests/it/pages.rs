//! The pages of lsbaws in a browser: listings and errors.

use std::fs;

use serde_json::json;

use crate::browser::Browser;
use crate::harness::{command, find_program};
use crate::site::{Site, set_time};

/// The smallest contrast of a text and its background (WCAG 2.2, success criterion 1.4.3), and that text. The backgrounds of
/// these pages are opaque colors.
const CONTRAST: &str = r"(() => {
    const parse = color => color.match(/[\d.]+/g).map(Number);
    const luminance = color => {
        const [r, g, b] = parse(color).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = node => {
        const color = getComputedStyle(node).backgroundColor;
        return parse(color)[3] === 0 ? ground(node.parentElement) : color;
    };
    const texts = [...document.querySelectorAll('body *')].filter(node =>
        [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()));
    const list = texts.map(node => {
        const pair = [luminance(getComputedStyle(node).color), luminance(ground(node))].sort((a, b) => b - a);
        return [(pair[0] + 0.05) / (pair[1] + 0.05), node.textContent];
    });
    return list.sort((a, b) => a[0] - b[0])[0];
})()";

/// Opens a page on screens of both widths and in both color schemes.
fn check_look(browser: &mut Browser, url: &str) {
    let mut grounds = Vec::new();
    for (width, is_dark) in [(360, false), (360, true), (1280, false), (1280, true)] {
        browser.set_screen(width, is_dark);
        browser.open(url);
        let overflow =
            "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth";
        let overflow = browser.evaluate(overflow).as_f64().unwrap();
        assert!(overflow <= 0.0, "{url} is {overflow} px wider than a screen of {width} px");
        let contrast = browser.evaluate(CONTRAST);
        assert!(contrast[0].as_f64().unwrap() >= 4.5, "{url}, dark {is_dark}: {contrast}");
        grounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert!(grounds[0] != grounds[1] && grounds[..2] == grounds[2..], "{grounds:?}");
}

/// The console is empty, and every request was for the site.
fn check_quiet(browser: &Browser, base: &str) {
    assert_eq!(browser.complaints(), [""; 0]);
    let requests = browser.requests();
    assert!(!requests.is_empty() && requests.iter().all(|url| url.starts_with(base)), "{requests:?}");
}

fn make_site() -> (Site, String) {
    let site = Site::new("listing = true");
    for (name, size) in [("file10", 10), ("File2", 300), ("file1", 20)] {
        site.write(name, vec![b'x'; size]);
    }
    set_time(&site.path("file1"), 784_111_777 + 60);
    let long = "w".repeat(120);
    for name in [&format!("sub/{long}"), "sub/A name of many words that wraps on a small screen", "sub/שלום"]
    {
        site.write(name, "");
    }
    fs::create_dir_all(site.path(format!("sub/{long}.d"))).unwrap();
    let base = format!("http://{}/", site.server.address());
    (site, base)
}

#[test]
fn listing_is_sorted_by_its_headings() {
    let (Some(mut browser), (_site, base)) = (Browser::start(), make_site()) else { return };
    browser.set_screen(1280, false);
    browser.open(&base);
    let read = |browser: &mut Browser| {
        browser.evaluate(
            "[[...document.querySelectorAll('tbody a')].map(link => link.textContent).join(' '), \
              [...document.querySelectorAll('th[aria-sort]')].map(th => \
                `${th.cellIndex} ${th.ariaSort}`).join()]",
        )
    };
    assert_eq!(read(&mut browser), json!(["sub/ file1 File2 file10", "0 ascending"]));
    for (column, names, sorted) in [
        (1, "sub/ file10 File2 file1", "0 descending"),
        (1, "sub/ file1 File2 file10", "0 ascending"),
        (2, "sub/ File2 file1 file10", "1 descending"),
        (2, "sub/ file10 file1 File2", "1 ascending"),
        (3, "sub/ file1 File2 file10", "2 descending"),
        (3, "sub/ File2 file10 file1", "2 ascending"),
        (1, "sub/ file1 File2 file10", "0 ascending"),
    ] {
        browser.click(&format!("thead th:nth-child({column}) a"));
        assert_eq!(read(&mut browser), json!([names, sorted]), "column {column}");
    }
    browser.click("tbody a[href='./sub/']");
    assert_eq!(browser.evaluate("location.pathname"), "/sub/");
    browser.click("nav a");
    assert_eq!(browser.evaluate("location.pathname"), "/");
    check_quiet(&browser, &base);
}

#[test]
fn listing_fits_every_screen() {
    let (Some(mut browser), (_site, base)) = (Browser::start(), make_site()) else { return };
    for target in ["", "sub/", "sub/?sort=modified&order=asc"] {
        check_look(&mut browser, &format!("{base}{target}"));
    }
    check_quiet(&browser, &base);
}

#[test]
fn error_page_fits_every_screen() {
    let (Some(mut browser), (_site, base)) = (Browser::start(), make_site()) else { return };
    let url = format!("{base}none");
    check_look(&mut browser, &url);
    let texts = "[document.title, document.querySelector('h1').textContent, document.documentElement.lang]";
    assert_eq!(browser.evaluate(texts), json!(["404 Not Found", "Not Found", "en"]));
    check_quiet(&browser, &base);
}

#[test]
fn listing_is_readable_in_a_text_browser() {
    let Some(lynx) = find_program("lynx") else { return };
    let (_site, base) = make_site();
    let output = command(lynx).args(["-dump", "-nolist", "-width=200", &base]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.contains("ile") || line.contains("Name"));
    let lines: Vec<_> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "CAPTION: 1 directory, 3 files");
    assert_eq!(lines[1], "Name Size Modified UTC");
    assert_eq!(lines[2], "file1 20 B 1994-11-06 08:50");
    assert_eq!((&*lines[3], lines.len()), ("File2 300 B 1994-11-06 08:49", 5));
}
