# wsgidav with the folder DATA. Its own storage of locks is for one process; here each connection has one.
import fcntl
import os
import pickle

from wsgidav.lock_man.lock_storage import LockStorageDict
from wsgidav.wsgidav_app import WsgiDAVApp


class SharedLocks(LockStorageDict):
    """Locks in a file, for all processes."""

    file = None

    def _share(self, method, *arguments, **options):
        if self.file is not None:  # called by another method of this object
            return getattr(super(), method)(*arguments, **options)
        with open(os.path.join(os.environ["STATE"], "locks"), "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.file = file
            file.seek(0)
            content = file.read()
            self._dict = pickle.loads(content) if content else {}
            try:
                return getattr(super(), method)(*arguments, **options)
            finally:
                self.file = None
                file.truncate(0)
                file.write(pickle.dumps(self._dict))

    def clear(self):
        return self._share("clear")

    def get(self, token):
        return self._share("get", token)

    def create(self, path, lock):
        return self._share("create", path, lock)

    def refresh(self, token, *, timeout):
        return self._share("refresh", token, timeout=timeout)

    def delete(self, token):
        return self._share("delete", token)

    def get_lock_list(self, path, **options):
        return self._share("get_lock_list", path, **options)


app = WsgiDAVApp(
    {
        "provider_mapping": {"/": os.environ["DATA"]},
        "simple_dc": {"user_mapping": {"*": True}},
        "property_manager": True,
        "lock_storage": SharedLocks(),
        "verbose": 1,
        "logging": {"enable": False},
    }
)
