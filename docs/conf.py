# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx's settings for the pages that antsibull-docs writes."""

from docutils.nodes import reference

project = "selfhost.appwrite"
copyright = "selfhost.appwrite contributors"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
html_copy_source = False
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"
nitpicky = True

ANSIBLE = "https://docs.ansible.com/projects/ansible/latest"
ANSIBLE_PAGES = {  # the labels of Ansible's own documentation that the pages lead to; its inventory could only be had over the network
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def _lead_to_ansible(_app, _env, node, contnode):
    page = ANSIBLE_PAGES.get(node["reftarget"])
    return page and reference("", "", contnode, internal=False, refuri=f"{ANSIBLE}/{page}")


def setup(app):
    app.connect("missing-reference", _lead_to_ansible)
