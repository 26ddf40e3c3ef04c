# A package is made, uploaded by twine and installed by pip: pypi.py URL FOLDER
import base64
import hashlib
import os
import subprocess
import sys
import zipfile

URL, FOLDER = sys.argv[1:]
NAME, VERSION = "lsbaws_example", "1.5"


def make_wheel():
    info = "%s-%s.dist-info" % (NAME, VERSION)
    files = {
        NAME + ".py": "VALUE = 42\nTEXT = %r\n" % os.urandom(400000).hex(),
        info + "/METADATA": "Metadata-Version: 2.1\nName: lsbaws-example\nVersion: %s\nSummary: x\n" % VERSION,
        info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (name, digest, len(text))
    files[info + "/RECORD"] = record + info + "/RECORD,,\n"
    path = os.path.join(FOLDER, "%s-%s-py3-none-any.whl" % (NAME, VERSION))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def run(*arguments):
    environment = dict(os.environ, HOME=FOLDER, PIP_CONFIG_FILE="/dev/null", PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring")
    done = subprocess.run([sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


wheel = make_wheel()
run("twine", "upload", "--non-interactive", "--disable-progress-bar", "-u", "a", "-p", "b", "--repository-url", URL + "/", wheel)
target = os.path.join(FOLDER, "installed")
run("pip", "install", "--quiet", "--isolated", "--no-cache-dir", "--no-deps", "--target", target, "--index-url", URL + "/simple/", "lsbaws-example==" + VERSION)
sys.path.insert(0, target)
installed = __import__(NAME)
assert installed.VALUE == 42 and installed.__file__.startswith(target)
listed = run("pip", "index", "versions", "--isolated", "--index-url", URL + "/simple/", "lsbaws-example")
assert VERSION in listed, listed
print("done")
