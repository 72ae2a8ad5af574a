"""Calendars put together: weekly hours, public holidays, iCalendar files."""
