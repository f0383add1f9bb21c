from django.urls import path

from audit import views

urlpatterns = [
    path("audit/", views.audit_list, name="audit_list"),
    path("audit/heads/", views.head_list, name="head_list"),
    path(".well-known/keyreeve-chain-keys.json", views.chain_keys, name="chain_keys"),
    path("audit/<int:seq>/", views.audit_entry, name="audit_entry"),
]
