<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The API: what tests need of it, in the addresses and shapes of Appwrite's own. One request at a time.
//
//   GET   /v1/health/version
//   POST  /v1/databases/D/collections/C/documents          {"documentId", "data"}
//   GET   /v1/databases/D/collections/C/documents/ID
//   PATCH /v1/databases/D/collections/C/documents/ID       {"data"}
//   POST  /v1/storage/buckets/B/files?fileId=&name=&algorithm=     the content
//   GET   /v1/storage/buckets/B/files/ID/download
//
// The header X-Appwrite-Project is the number of the project, whose tables begin with it. What the metadata says to be sealed is sealed with
// the container's key. A wrong key reads nothing, and the next change of the row seals that nothing: so does Appwrite.

require __DIR__ . '/common.php';

const METHOD = 'aes-128-gcm';
const TTL = 86400;

class Problem extends Exception
{
}

/** What of a project's tables the API reads and writes. Opened rows are kept in Redis. */
class Store
{
    public function __construct(private PDO $pdo, private ?Redis $redis, private string $namespace)
    {
    }

    public function create(string $collection, string $id, array $values): array
    {
        $row = ['_uid' => $id, '_permissions' => '["read(\"any\")"]', ...$this->sealed($collection, $values)];
        $names = implode(', ', array_map('quoted', ['_createdAt', ...array_keys($row)]));
        $this->run("INSERT INTO {$this->table($collection)} ($names) VALUES (CURRENT_TIMESTAMP(3)" . str_repeat(', ?', count($row)) . ')', array_values($row));

        return ['$id' => $id, ...$values];
    }

    public function read(string $collection, string $id): array
    {
        $key = $this->key($collection, $id);
        try {
            $kept = $this->redis?->ask('GET', $key);
        } catch (Away) {
            $kept = null;
        }
        if ($kept) {
            return json_decode($kept, true);
        }
        $document = $this->opened($collection, $id, '');
        try {
            $this->redis?->ask('SETEX', $key, TTL, json_encode($document));
        } catch (Away) {
        }

        return $document;
    }

    /** Every sealed column is sealed anew, whichever changes. */
    public function update(string $collection, string $id, array $values): array
    {
        if (!$this->redis) {
            throw new Away('Redis is away');
        }
        $this->redis->ask('DEL', $this->key($collection, $id)); // no other request is under way
        $this->pdo->beginTransaction();
        try {
            $document = [...$this->opened($collection, $id, ' FOR UPDATE'), ...$values];
            $row = $this->sealed($collection, array_filter($document, fn ($name) => $name[0] !== '$', ARRAY_FILTER_USE_KEY));
            $changes = implode(', ', array_map(fn ($name) => quoted($name) . ' = ?', array_keys($row)));
            $this->run("UPDATE {$this->table($collection)} SET " . quoted('_updatedAt') . " = CURRENT_TIMESTAMP(3), $changes WHERE _uid = ?", [...array_values($row), $id]);
            $this->pdo->commit();
        } catch (Throwable $error) {
            $this->pdo->rollBack();
            throw $error;
        }

        return $document;
    }

    private function opened(string $collection, string $id, string $lock): array
    {
        $row = $this->run("SELECT * FROM {$this->table($collection)} WHERE _uid = ?$lock", [$id])[0] ?? throw new Problem('document_not_found', 404);
        $document = ['$id' => $id];
        foreach ($this->attributes($collection) as ['$id' => $name, 'array' => $array, 'filters' => $filters]) {
            $value = $array && $row[$name] !== null ? json_decode($row[$name], true) : $row[$name];
            if (in_array('encrypt', $filters)) {
                $value = $array ? array_map($this->open(...), $value ?? []) : $this->open($value);
            }
            $document[$name] = $value;
        }

        return $document;
    }

    private function sealed(string $collection, array $values): array
    {
        foreach ($this->attributes($collection) as ['$id' => $name, 'array' => $array, 'filters' => $filters]) {
            if (isset($values[$name]) && in_array('encrypt', $filters)) {
                $values[$name] = $array ? array_map($this->seal(...), $values[$name]) : $this->seal($values[$name]);
            }
            if (isset($values[$name]) && $array) {
                $values[$name] = json_encode($values[$name]);
            }
        }

        return $values;
    }

    private function seal(string $value): string
    {
        $iv = random_bytes(openssl_cipher_iv_length(METHOD));
        $data = openssl_encrypt($value, METHOD, key_in_force(), 0, $iv, $tag);

        return json_encode(['data' => $data, 'method' => METHOD, 'iv' => bin2hex($iv), 'tag' => bin2hex($tag), 'version' => '1']);
    }

    private function open(?string $stored): ?string
    {
        $parts = json_decode($stored ?? '', true);

        return $parts === null ? $stored : (string) openssl_decrypt($parts['data'], $parts['method'], key_in_force(), 0, hex2bin($parts['iv']), hex2bin($parts['tag']));
    }

    private function attributes(string $collection): array
    {
        $found = $this->run("SELECT attributes FROM {$this->table('_metadata')} WHERE _uid = ?", [$collection]);

        return json_decode($found[0]['attributes'] ?? throw new Problem('collection_not_found', 404), true);
    }

    private function table(string $collection): string
    {
        return quoted("_{$this->namespace}_$collection");
    }

    private function key(string $collection, string $id): string
    {
        return "default-cache-_{$this->namespace}:collection:$collection:$id";
    }

    private function run(string $statement, array $values): array
    {
        $done = $this->pdo->prepare($statement);
        $done->execute($values);

        return $done->columnCount() ? $done->fetchAll() : [];
    }
}

function key_in_force(): string
{
    return (string) getenv('_APP_OPENSSL_KEY_V1');
}

class Api
{
    private ?PDO $pdo = null;
    private ?Redis $redis = null;
    private float $refused = 0;

    /** @return array{int, string} status and content */
    public function answer(string $method, string $target, array $headers, string $body): array
    {
        $path = parse_url($target, PHP_URL_PATH);
        if ($path === '/v1/health/version') {
            return [200, json_encode(['version' => getenv('_APP_VERSION')])];
        }
        $project = $headers['x-appwrite-project'] ?? '';
        try {
            if (preg_match('#^/v1/databases/(\d+)/collections/(\d+)/documents(?:/(\w+))?$#', $path, $found)) {
                $collection = "database_$found[1]_collection_$found[2]";
                $asked = json_decode($body, true);
                $store = $this->store($project);
                $answer = match ($method) {
                    'POST' => [201, json_encode($store->create($collection, $asked['documentId'], $asked['data']))],
                    'PATCH' => [200, json_encode($store->update($collection, $found[3], $asked['data']))],
                    'GET' => [200, json_encode($store->read($collection, $found[3]))],
                    default => throw new Problem('general_route_not_found', 404),
                };
            } elseif (preg_match('#^/v1/storage/buckets/(\d+)/files(?:/(\w+)/download)?$#', $path, $found)) {
                parse_str((string) parse_url($target, PHP_URL_QUERY), $options);
                $answer = $method === 'POST' ? $this->upload($project, "bucket_$found[1]", $options, $body) : $this->download($project, "bucket_$found[1]", $found[2]);
            } else {
                throw new Problem('general_route_not_found', 404);
            }
        } catch (Problem $error) {
            $answer = [$error->getCode(), json_encode(['type' => $error->getMessage()])];
        } catch (Throwable $error) {
            fwrite(STDERR, $error->getMessage() . "\n");
            $this->pdo = $this->redis = null;
            $answer = [500, json_encode(['type' => 'general_unknown'])];
        }
        if (($headers['x-appwrite-mode'] ?? '') !== 'admin') {
            $this->count($project);
        }

        return $answer;
    }

    private function upload(string $project, string $bucket, array $options, string $content): array
    {
        ['fileId' => $id, 'name' => $name, 'algorithm' => $algorithm] = $options;
        $iv = random_bytes(openssl_cipher_iv_length(METHOD));
        $sealed = openssl_encrypt($algorithm === 'gzip' ? gzencode($content) : $content, METHOD, key_in_force(), 0, $iv, $tag);
        $path = "/storage/uploads/app-$project/$bucket/" . implode('/', str_split(substr($id, 0, 4))) . "/$id." . pathinfo($name, PATHINFO_EXTENSION);
        @mkdir(dirname($path), 0777, true);
        file_put_contents($path, $sealed);
        $this->store($project)->create($bucket, $id, [
            'bucketId' => $bucket, 'name' => $name, 'path' => $path, 'signature' => md5($content), 'mimeType' => 'text/plain',
            'sizeOriginal' => strlen($content), 'algorithm' => $algorithm, 'openSSLVersion' => '1', 'openSSLCipher' => METHOD,
            'openSSLTag' => bin2hex($tag), 'openSSLIV' => bin2hex($iv), 'chunksTotal' => 1, 'chunksUploaded' => 1]);

        return [201, json_encode(['$id' => $id])];
    }

    /** What the key does not open is sent as it is. */
    private function download(string $project, string $bucket, string $id): array
    {
        $file = $this->store($project)->read($bucket, $id);
        $stored = @file_get_contents($file['path']);
        if ($stored === false) {
            throw new Problem('storage_file_not_found', 404);
        }
        $content = openssl_decrypt($stored, METHOD, key_in_force(), 0, hex2bin($file['openSSLIV']), hex2bin($file['openSSLTag']));
        if ($content !== false && $file['algorithm'] === 'gzip') {
            $content = gzdecode($content);
        }

        return [200, $content === false ? $stored : $content];
    }

    private function store(string $project): Store
    {
        if (adapter() === 'mongodb') {
            throw new Problem('general_not_implemented', 501);
        }
        if (!preg_match('#^\d+$#', $project)) {
            throw new Problem('project_not_found', 404);
        }
        $this->pdo ??= connect();

        return new Store($this->pdo, $this->redis(), $project);
    }

    private function count(string $project): void
    {
        try {
            if ($redis = $this->redis()) {
                enqueue($redis, 'v1-stats-usage', ['project' => ['$id' => $project], 'metrics' => [['key' => 'network.requests', 'value' => 1]], 'reduce' => []]);
            }
        } catch (Away) {
            $this->redis = null;
        }
    }

    /** Null where it is away: asked again a second later. */
    private function redis(): ?Redis
    {
        try {
            return $this->redis ??= microtime(true) - $this->refused > 1 ? new Redis() : null;
        } catch (Away) {
            $this->refused = microtime(true);

            return null;
        }
    }
}

/** @param resource $client */
function serve(Api $api, mixed $client): void
{
    stream_set_timeout($client, 2);
    [$method, $target] = explode(' ', (string) fgets($client)) + ['', ''];
    $headers = [];
    while (($line = trim((string) fgets($client))) !== '') {
        [$name, $value] = explode(':', $line, 2) + ['', ''];
        $headers[strtolower($name)] = trim($value);
    }
    $length = (int) ($headers['content-length'] ?? 0);
    $body = $length ? (string) stream_get_contents($client, $length) : '';
    if ($target === '' || strlen($body) < $length) {
        return; // whoever asked has gone
    }
    [$status, $content] = $api->answer($method, $target, $headers, $body);
    @fwrite($client, "HTTP/1.1 $status -\r\nContent-Length: " . strlen($content) . "\r\nConnection: close\r\n\r\n$content");
}

ended();
$server = stream_socket_server('tcp://0.0.0.0:80', context: stream_context_create(['socket' => ['backlog' => 128]]));
$api = new Api();
echo "Server started\n";
while (!ended()) {
    $ready = [$server];
    $none = null;
    if (@stream_select($ready, $none, $none, 0, 500_000) && ($client = @stream_socket_accept($server, 0))) {
        serve($api, $client);
        fclose($client);
    }
}
