<?php
// Ends an invocation as its payload asks: {"behavior": "kill"}. Its own bootstrap on the Runtime
// API, over plain sockets.

const RUNTIME = '/2018-06-01/runtime';

function request(string $method, string $path, string $body = ''): array
{
    $api = getenv('AWS_LAMBDA_RUNTIME_API');
    $socket = stream_socket_client("tcp://$api");
    stream_set_timeout($socket, 86400);
    $length = strlen($body);
    fwrite($socket, "$method $path HTTP/1.1\r\nHost: $api\r\nConnection: close\r\n" .
        "Content-Type: application/json\r\nContent-Length: $length\r\n\r\n$body");
    [$head, $content] = explode("\r\n\r\n", stream_get_contents($socket), 2);
    return [$head, $content];
}

function grow(): void
{
    ini_set('memory_limit', '-1');
    for ($held = []; ; ) {
        $held[] = str_repeat((string) (count($held) % 10), 1 << 20);
    }
}

function limit(): void
{
    for ($held = []; ; ) {
        $held[] = str_repeat('x', 1 << 20);
    }
}

function perform(array $event): void
{
    switch ($event['behavior'] ?? 'succeed') {
        case 'kill':
        case 'grow':
            grow();
        case 'limit':
            limit();
        case 'near-limit':
            strlen(str_repeat('1', $event['mb'] << 20));
            break;
        case 'crash':
            exit($event['code'] ?? 1);
        case 'fatal': // not about memory
            undefined_function();
        case 'timeout':
            sleep(3600);
    }
}

if (getenv('SANDBOX_INIT') === 'kill') {
    grow();
}
if (getenv('SANDBOX_INIT') === 'limit') {
    limit();
}
for (;;) {
    [$head, $body] = request('GET', RUNTIME . '/invocation/next');
    preg_match('/Lambda-Runtime-Aws-Request-Id: (\S+)/i', $head, $found);
    $event = json_decode($body, true);
    foreach ($event['lines'] ?? [] as $line) {
        echo str_replace('{id}', $found[1], $line), "\n";
    }
    $path = RUNTIME . "/invocation/$found[1]";
    if (($event['behavior'] ?? '') === 'error') {
        $error = '{"errorMessage":"asked for","errorType":"RuntimeException"}';
        request('POST', "$path/error", $error);
        continue;
    }
    perform($event);
    request('POST', "$path/response", '{"status":"ok"}');
}
