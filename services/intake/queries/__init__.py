"""What intake's read model answers: the board, and what is found on it by words."""

from services.intake.queries.search import Found, FoundKey, FoundTicket, find_tickets
from services.intake.queries.tickets import (
    CommentView,
    LinkView,
    NewestKey,
    PriorityKey,
    Sort,
    TicketDetail,
    TicketFilter,
    TicketView,
    board_sequence,
    highest_number,
    list_comments,
    list_links,
    list_tickets,
    newest_number,
    read_ticket,
    sort_key,
)

__all__ = [
    "CommentView",
    "Found",
    "FoundKey",
    "FoundTicket",
    "LinkView",
    "NewestKey",
    "PriorityKey",
    "Sort",
    "TicketDetail",
    "TicketFilter",
    "TicketView",
    "board_sequence",
    "find_tickets",
    "highest_number",
    "list_comments",
    "list_links",
    "list_tickets",
    "newest_number",
    "read_ticket",
    "sort_key",
]
