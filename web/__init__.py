"""How lists and pages are asked for and shown: keyset paging, page or fragment, template tags, CSV. Knows no app."""
