//! Names this build: `LSBAWS_BUILD`, in the environment of the compiler. The daemon and what Python imports of it exchange
//! memory and messages whose layout only builds of the same source, crates and compiler share; the name is equal then, and
//! does not depend on the time, the folder or the profile.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Both are relative to the folder of this file, where cargo runs it.
    let mut files = vec![PathBuf::from("Cargo.lock")];
    add_files(Path::new("src"), &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        (file, fs::read(file)?).hash(&mut hasher);
    }
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Command::new(compiler).arg("-vV").output()?.stdout.hash(&mut hasher);
    println!("cargo::rustc-env=LSBAWS_BUILD={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
    println!("cargo::rerun-if-changed=src\ncargo::rerun-if-changed=Cargo.lock");
    Ok(())
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => add_files(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
