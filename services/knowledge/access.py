"""Who may do what at knowledge."""

from typing import Final

from shared.http.access import Access

ACCESS: Final = Access(
    {
        "POST /articles": "agent manager admin",
        "GET /articles": "requester:published integration:published agent manager auditor admin",
        "GET /articles/{id}": (
            "requester:published integration:published agent manager auditor admin"
        ),
        "GET /search": "requester:published integration:published agent manager auditor admin",
        "PUT /articles/{id}": "agent manager admin",
        "POST /articles/{id}/publish": "agent:others manager:others admin",
        "keep an article published that they revise": "admin",
        "POST /articles/{id}/retire": "agent manager admin",
    },
    {
        "published": "published articles",
        "others": "articles of which they wrote nothing since the publication before; so a second"
        " person reads each",
    },
)
