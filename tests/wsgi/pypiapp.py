# pypiserver with the packages in the folder DATA, which accepts uploads without a password.
import os
import pathlib

import pypiserver

app = pypiserver.app(roots=[pathlib.Path(os.environ["DATA"])], authenticate=[], password_file=".")
