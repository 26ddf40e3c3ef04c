from django.contrib import admin
from django.db import models


class Entry(models.Model):
    title = models.CharField(max_length=100)
    changes = models.IntegerField(default=0)

    def __str__(self):
        return self.title


admin.site.register(Entry)
