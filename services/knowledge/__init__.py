"""What the desk knows: articles, their workflow, search."""
