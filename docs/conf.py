"""How Sphinx renders the book: no execution, no other host, one quiet theme in light and dark."""

project = "gk"
copyright = "gk authors"
extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
exclude_patterns = ["**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = "gk"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
