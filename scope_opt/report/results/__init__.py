"""Pages of this project's own studies, the folder ``results``: Markdown from committed records."""
