"""Sphinx: ``python -m sphinx -W docs docs/_build/html``."""

from __future__ import annotations

from compactor import __version__

project = "compactor"
author = "the compactor authors"
copyright = f"{author}. Apache License 2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["compactor.css"]
html_extra_path = ["llms.txt"]
html_title = f"compactor {release}"
