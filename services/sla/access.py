"""Who may do what at sla."""

from typing import Final

from shared.http.access import Access

ACCESS: Final = Access(
    {
        "GET /tickets/{id}": (
            "requester:own,survivor integration:reported agent manager auditor admin"
        ),
        "GET /tickets/{id}/explain": "agent manager auditor admin",
        "GET /tickets/{id}/scenario": "agent manager auditor admin",
        "GET /clocks": "agent manager auditor admin",
        "GET /at-risk": "agent manager auditor admin",
        "GET /attainment": "customer:own agent manager auditor admin",
        "GET /rules": "agent manager auditor admin",
        "POST /rules": "manager admin",
        "POST /rules:check": "manager admin",
        "GET /policies/{id}": "agent manager auditor admin",
        "PUT /policies/{id}": "manager admin",
        "GET /calendars/{id}": "agent manager auditor admin",
        "PUT /calendars/{id}": "manager admin",
        "PUT /peak": "manager admin",
        "GET /outages": "integration agent manager auditor admin",
        "PUT /outages/{id:path}": "integration:told agent manager admin",
        "GET /maintenance": "integration agent manager auditor admin",
        "PUT /maintenance/{id:path}": "integration:told agent manager admin",
        "plan maintenance that has begun": "manager admin",
        "GET /availability": "integration agent manager auditor admin",
        "PUT /services/{id:path}/availability": "manager admin",
        "GET /agreements": "customer:own agent manager auditor admin",
        "GET /agreements/{id}": "customer:own agent manager auditor admin",
        "PUT /agreements/{id}": "manager admin",
        "GET /agreements/{id}/remedies": "customer:own agent manager auditor admin",
        "POST /agreements/{id}/reviews": "manager admin",
        "POST /agreements/{id}/sign-offs": "customer:own manager admin",
        "sign for the provider": "manager admin",
        "sign for the customer": "customer:own admin",
    },
    {
        "own": "tickets whose requester they are; agreements and verdicts of the customer they are",
        "survivor": "tickets that one of theirs was merged into, where its work goes on",
        "reported": "tickets that they reported",
        "told": "outages and maintenance that they told of first",
    },
)
