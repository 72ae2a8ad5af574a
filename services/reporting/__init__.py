"""What happened: the archive of every raw record, KPIs, timelines, replay."""
