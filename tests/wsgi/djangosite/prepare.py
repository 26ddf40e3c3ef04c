# Makes the database, its administrator and the static files: python -m djangosite.prepare
import os

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "djangosite.settings"
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
from django.contrib.auth.models import User  # noqa: E402

User.objects.create_superuser("admin", "admin@example.org", "secret")
