from django.apps import AppConfig


class AuthorizationServerConfig(AppConfig):
    name = "demo.authorization_server"
    label = "authorization_server"
    default_auto_field = "django.db.models.BigAutoField"
