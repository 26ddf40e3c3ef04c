# Eight administrators add and change objects at the same time: admin.py URL
import re
import sys
import threading

import requests

URL = sys.argv[1] + "/admin/"
WORKERS, EACH = 8, 4


def submit(session, url, **fields):
    """Fills the form of a page, as a browser does."""
    page = session.get(url)
    assert page.status_code == 200, (url, page.status_code)
    fields["csrfmiddlewaretoken"] = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
    answer = session.post(page.url, data=fields, headers={"Referer": page.url})
    assert answer.status_code == 200, (url, answer.status_code, answer.text[:2000])
    assert "errornote" not in answer.text, answer.text
    return answer


def login(keeps_alive=True):
    session = requests.Session()
    if not keeps_alive:
        session.headers["Connection"] = "close"
    answer = submit(session, URL, username="admin", password="secret", next="/admin/")
    assert "Site administration" in answer.text, answer.text
    return session


def work(number):
    # Half of them with a process for every request.
    session = login(keeps_alive=number % 2 == 0)
    for index in range(EACH):
        title = "entry-%d-%d" % (number, index)
        answer = submit(session, URL + "djangosite/entry/add/", title=title, changes="0", _continue="x")
        assert title in answer.text and re.search(r"entry/\d+/change/", answer.url), answer.url
        submit(session, answer.url, title=title, changes="1", _save="x")


faults = []


def attempt(number):
    try:
        work(number)
    except BaseException as error:
        faults.append(repr(error))


threads = [threading.Thread(target=attempt, args=[number]) for number in range(WORKERS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not faults, faults
session = login()
listed = session.get(URL + "djangosite/entry/?all=")
assert "%d entrys" % (WORKERS * EACH) in listed.text, listed.text
changed = session.get(URL + "djangosite/entry/?changes=1")
assert "%d entrys" % (WORKERS * EACH) in changed.text, changed.text
style = re.search(r'href="(/static/admin/css/base[^"]*\.css)"', listed.text)[1]
assert "--primary" in session.get(sys.argv[1] + style).text
# Without the token of the form nothing is changed.
assert requests.post(URL + "login/", data={"username": "admin"}).status_code == 403
print("done")
