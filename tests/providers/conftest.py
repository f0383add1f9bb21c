"""The promises of providers explain themselves when one is broken: before any module of tests takes them in."""

import pytest

pytest.register_assert_rewrite("providers.contract")
