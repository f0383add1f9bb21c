"""Sign-in through the directory: whom it may bring in, which account that is, and which roles its groups give."""

from collections.abc import Iterable, Mapping
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import render

from access.models import User
from access.roles import Role
from access.signals import directory_refused, roles_mapped

MOST_GROUPS = 2_000


def claims_of(login: SocialLogin) -> dict[str, Any]:
    """What the directory says of the person; the signed token beats what was asked for afterwards."""
    said = login.account.extra_data or {}
    parts = [said.get(part) for part in ("userinfo", "id_token")]
    return {name: value for part in parts if isinstance(part, Mapping) for name, value in part.items()}


def roles_of(claims: Mapping[str, Any]) -> set[Role]:
    """The roles that the person's groups give, by the mapping of the operator alone."""
    given = claims.get(settings.OIDC_GROUPS_CLAIM)
    groups: Iterable[Any] = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    names = {group for group in list(groups)[:MOST_GROUPS] if isinstance(group, str)}
    return {Role(settings.OIDC_ROLES[name]) for name in names & settings.OIDC_ROLES.keys()}


class DirectoryAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Who has a role by their groups comes in; an account that is there already is theirs by a verified address."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        claims = claims_of(sociallogin)
        roles = roles_of(claims)
        if not roles:
            self.refuse(request, "None of your groups in the directory has a role here.")
        if not sociallogin.is_existing:
            self._meet(request, sociallogin, claims)
        if sociallogin.is_existing:
            set_roles(sociallogin.user, roles)

    def _meet(self, request: HttpRequest, login: SocialLogin, claims: Mapping[str, Any]) -> None:
        """Find the account of this person; one that another identity of the directory has stays with that one."""
        email = str(claims.get("email") or "").strip()
        if not email or claims.get("email_verified") is not True:
            self.refuse(request, "The directory gives no verified e-mail address for you.")
        found = User.objects.filter(email__iexact=email).first()
        if found is None:
            return
        if not found.is_active:
            self.refuse(request, "This account is switched off.")
        if SocialAccount.objects.filter(user=found, provider=login.account.provider).exists():
            self.refuse(request, "Another identity of the directory has this e-mail address here.")
        login.connect(request, found)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Only who has a role gets this far."""
        return True

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        sociallogin.user.set_unusable_password()
        user: User = super().save_user(request, sociallogin, form)
        set_roles(user, roles_of(claims_of(sociallogin)))
        return user

    def refuse(self, request: HttpRequest, why: str) -> None:
        directory_refused.send(DirectoryAdapter, why=why)
        raise ImmediateHttpResponse(render(request, "403.html", {"exception": why}, status=403))


@transaction.atomic
def set_roles(user: User, roles: set[Role]) -> None:
    """Make these the roles of a person; what the directory no longer gives is taken away."""
    held = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    before = set(held.groups.filter(name__in=Role).values_list("name", flat=True))
    after = {role.value for role in roles}
    if before == after:
        return
    held.groups.remove(*Group.objects.filter(name__in=before - after))
    held.groups.add(*Group.objects.filter(name__in=after - before))
    roles_mapped.send(User, user=held, before=sorted(before), after=sorted(after))
