-- Copyright (c) 2026, selfhost.appwrite contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What Appwrite's first start leaves: the console's tables, without a row. One statement per line.
CREATE TABLE IF NOT EXISTS `_console_users` (`_id` INT UNSIGNED NOT NULL AUTO_INCREMENT, `_uid` VARCHAR(255) NOT NULL, `_createdAt` DATETIME(3) DEFAULT NULL, `_permissions` MEDIUMTEXT DEFAULT NULL, `name` VARCHAR(256) DEFAULT NULL, `email` VARCHAR(320) DEFAULT NULL, PRIMARY KEY (`_id`), UNIQUE KEY `_uid` (`_uid`));
CREATE TABLE IF NOT EXISTS `_console_projects` (`_id` INT UNSIGNED NOT NULL AUTO_INCREMENT, `_uid` VARCHAR(255) NOT NULL, `_createdAt` DATETIME(3) DEFAULT NULL, `_permissions` MEDIUMTEXT DEFAULT NULL, `name` VARCHAR(128) DEFAULT NULL, PRIMARY KEY (`_id`), UNIQUE KEY `_uid` (`_uid`));
