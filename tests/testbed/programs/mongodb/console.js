// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What Appwrite's first start leaves: the console's collections, without a document.
for (const name of ['_console_users', '_console_projects']) {
  if (!db.getCollectionNames().includes(name)) db.createCollection(name);
}
