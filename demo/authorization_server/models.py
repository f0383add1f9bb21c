"""What the library's own tables do not keep: the rest of a registration, and when something was last used."""

from django.db import models
from oauth2_provider.models import AccessToken, Application


class Registration(models.Model):
    """The metadata of RFC 7591 that the library reads and forgets, one row an application."""

    application = models.OneToOneField(Application, models.CASCADE, related_name="registration")
    software_id = models.CharField(max_length=200, blank=True)
    software_version = models.CharField(max_length=100, blank=True)
    client_uri = models.CharField(max_length=500, blank=True)
    application_type = models.CharField(max_length=20, blank=True)
    scope = models.CharField(max_length=1000, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    may_introspect = models.BooleanField(default=False)
    is_resource_server = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.application)


class TokenUse(models.Model):
    """When a resource server last asked about a token. Whoever only takes stock of tokens does not count."""

    token = models.OneToOneField(AccessToken, models.CASCADE, related_name="use")
    last_used_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.token} {self.last_used_at:%Y-%m-%d %H:%M}"
