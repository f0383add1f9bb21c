from django.contrib.auth.hashers import PBKDF2PasswordHasher


class FewRounds(PBKDF2PasswordHasher):
    """For secrets that nobody chose: there is nothing to guess that rounds would slow down."""

    algorithm = "pbkdf2_sha256_few"
    iterations = 1_000
