"""Who may do what at routing."""

from typing import Final

from shared.http.access import Access

ACCESS: Final = Access(
    {
        "GET /tickets/{id}": "agent manager auditor admin",
        "POST /tickets/{id}/assign": "agent manager admin",
        "GET /queues": "agent manager auditor admin",
        "GET /agents": "agent manager auditor admin",
        "PUT /agents/{agent_id}": "manager admin",
        "POST /agents/{agent_id}/availability": "agent:self manager admin",
        "GET /policy": "agent manager auditor admin",
        "PUT /policy": "manager admin",
    },
    {"self": "the agent that they are"},
)
