"""How a whole region is written in files, checked, compared with the database and taken over."""
