# httpbin, as the library requests uses it: httpbin.py URL
import sys

import requests

URL = sys.argv[1]
session = requests.Session()


def call(method, path, **arguments):
    return session.request(method, URL + path, **arguments)


answer = call("GET", "/get?a=b%20c&a=d", headers={"X-Own": "b\u00e4r".encode("latin-1")})
assert answer.json()["args"] == {"a": ["b c", "d"]} and answer.json()["headers"]["X-Own"] == "b\u00e4r", answer.text
assert answer.json()["url"] == URL + "/get?a=b%20c&a=d", answer.text
for method in ["POST", "PUT", "PATCH", "DELETE"]:
    answer = call(method, "/" + method.lower(), json={"key": [1, None, "\u20ac"]})
    assert answer.json()["json"] == {"key": [1, None, "\u20ac"]}, answer.text
answer = call("POST", "/post", data={"name": "value"}, files={"file": ("a.txt", b"x" * 200000)})
assert answer.json()["form"] == {"name": "value"} and len(answer.json()["files"]["file"]) == 200000
answer = call("POST", "/post", data=(b"part %d," % number for number in range(3)))
assert answer.json()["data"] == "part 0,part 1,part 2,", answer.text
for status in [200, 201, 204, 304, 400, 404, 418, 500, 503]:
    answer = call("GET", "/status/%d" % status)
    assert answer.status_code == status, answer.status_code
assert call("HEAD", "/get").text == "" and int(call("HEAD", "/get").headers["Content-Length"]) > 100
assert "GET" in call("OPTIONS", "/get").headers["Allow"]
assert call("GET", "/redirect/3").url == URL + "/get"
assert call("GET", "/absolute-redirect/2").url == URL + "/get"
assert call("GET", "/cookies/set?a=1&b=2").json()["cookies"] == {"a": "1", "b": "2"}
assert call("GET", "/basic-auth/user/word", auth=("user", "word")).json()["authenticated"]
assert call("GET", "/basic-auth/user/word", auth=("user", "other")).status_code == 401
assert call("GET", "/digest-auth/auth/user/word", auth=requests.auth.HTTPDigestAuth("user", "word")).status_code == 200
for encoding in ["gzip", "deflate", "brotli"]:
    assert call("GET", "/" + encoding).status_code == 200, encoding
assert len(list(call("GET", "/stream/20", stream=True).iter_lines())) == 20
assert len(call("GET", "/stream-bytes/300000?chunk_size=1000", stream=True).content) == 102400
assert len(call("GET", "/bytes/100000").content) == 100000
answer = call("GET", "/range/1000", headers={"Range": "bytes=10-19"})
assert answer.status_code == 206 and answer.text == "klmnopqrst", answer.text
assert call("GET", "/drip?numbytes=5&duration=0&delay=0").text == "*****"
assert call("GET", "/etag/tag", headers={"If-None-Match": "tag"}).status_code == 304
assert call("GET", "/encoding/utf8").encoding == "utf-8"
assert call("GET", "/anything/a%2Fb/../c").json()["method"] == "GET"
assert call("GET", "/ip").json()["origin"] == "127.0.0.1"
assert call("GET", "/response-headers?X-A=b").headers["X-A"] == "b"
print("done")
