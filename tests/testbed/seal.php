<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Seals and opens values by PHP's own functions, as Appwrite does, so that the tests do not take our code's word for it.
// Reads JSON lines, answers each with one line. The first line is {"key", "other", "seed"}; every other one is {"seal": [...]},
// {"open": [...]}, {"seal_files": [...]} or {"open_files": [...]}, and the answer is a list as long. The key is no argument.

const METHOD = 'aes-128-gcm';
const SEALED = '/\{"data":"[^"]*","method":"aes-128-gcm","iv":"[0-9a-f]{24}","tag":"[0-9a-f]{32}","version":"1"\}/';

ini_set('memory_limit', '-1');
ini_set('display_errors', 'stderr');
['key' => $key, 'other' => $other, 'seed' => $seed] = read();
$drawn = 0;
echo "{}\n";

while (($request = read()) !== null) {
    foreach ($request as $what => $items) {
        echo json_encode(array_map($what, $items)), "\n";
    }
}

function read(): ?array
{
    $line = fgets(STDIN);

    return $line === false ? null : json_decode($line, true, flags: JSON_THROW_ON_ERROR);
}

// --- values ---

// A text, or {"json"} to be encoded first, or {"list"} of values for an array column, or {"room", "text"} for a value that is as long as
// fits into so many characters, or {"other"} for a text under the other key; null stays null. Each may hold {"nested": text}, legacy secrets.
function seal(mixed $value): mixed
{
    global $key, $other;
    if (is_null($value) || is_string($value)) {
        return is_null($value) ? null : sealed($value, $key);
    }
    if (isset($value['list'])) {
        return array_map('seal', $value['list']);
    }
    if (isset($value['other'])) {
        return sealed($value['other'], $other);
    }
    if (isset($value['room'])) {
        for ($best = ''; strlen($best) < $value['room'] - 1;) {
            $found = sealed($value['text'], $key);
            if (strlen($found) <= $value['room'] && strlen($found) > strlen($best)) {
                $best = $found;
            }
        }

        return $best;
    }

    return sealed(json_encode(with_nested($value['json'])), $key);
}

function sealed(string $text, string $key): string
{
    return json_encode(parts($text, $key));
}

function parts(string $text, string $key): array
{
    $iv = draw();
    $tag = null;
    $data = openssl_encrypt($text, METHOD, $key, 0, $iv, $tag);

    return ['data' => $data, 'method' => METHOD, 'iv' => bin2hex($iv), 'tag' => bin2hex($tag), 'version' => '1'];
}

// Another one each time, and the same ones for the same seed.
function draw(): string
{
    global $seed, $drawn;

    return substr(hash('sha256', $seed . ':' . ++$drawn, true), 0, openssl_cipher_iv_length(METHOD));
}

function with_nested(mixed $value): mixed
{
    global $key;
    if (!is_array($value)) {
        return $value;
    }

    return isset($value['nested']) ? parts($value['nested'], $key) : array_map('with_nested', $value);
}

// [what is stored, what was sealed] -> "same", "another" or "closed"
function open(array $pair): string
{
    global $key, $other;
    [$stored, $wanted] = $pair;
    $opened = opened(json_decode($stored, true), isset($wanted['other']) ? $other : $key);
    if ($opened === null) {
        return 'closed';
    }
    if (is_array($wanted)) {
        $wanted = $wanted['text'] ?? $wanted['other'] ?? json_encode($wanted['json']);
        $opened = preg_replace_callback(SEALED, fn ($found) => json_encode(['nested' => opened(json_decode($found[0], true), $key)]), $opened);
    }

    return $opened === $wanted ? 'same' : 'another';
}

function opened(mixed $parts, string $key): ?string
{
    if (!is_array($parts) || !isset($parts['data'], $parts['method'], $parts['iv'], $parts['tag'], $parts['version']) || $parts['version'] !== '1') {
        return null;
    }
    $text = openssl_decrypt($parts['data'], $parts['method'], $key, 0, hex2bin($parts['iv']), hex2bin($parts['tag']));

    return $text === false ? null : $text;
}

// --- files ---

// {"path", "plain", "gzip"}: writes the content, and returns what belongs in the row
function seal_files(array $file): array
{
    global $key;
    $plain = file_get_contents($file['plain']);
    $iv = draw();
    $tag = null;
    file_put_contents($file['path'], openssl_encrypt($file['gzip'] ? gzencode($plain) : $plain, METHOD, $key, 0, $iv, $tag));

    return ['openSSLIV' => bin2hex($iv), 'openSSLTag' => bin2hex($tag)];
}

// {"path", "iv", "tag", "gzip", "hash"} -> "same", "another" or "closed"
function open_files(array $file): string
{
    global $key;
    $plain = openssl_decrypt(file_get_contents($file['path']), METHOD, $key, 0, hex2bin($file['iv']), hex2bin($file['tag']));
    if ($plain === false) {
        return 'closed';
    }

    return hash('sha256', $file['gzip'] ? gzdecode($plain) : $plain) === $file['hash'] ? 'same' : 'another';
}
