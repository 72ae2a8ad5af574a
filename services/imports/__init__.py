"""Taking over the past of other systems, through the services' own import doors."""
