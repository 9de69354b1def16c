// Ends an invocation as its payload asks: {"behavior": "kill"}. Its own bootstrap on the Runtime
// API, over plain sockets: AWS's C++ runtime is in no package registry.
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <new>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

static const char *const RUNTIME = "/2018-06-01/runtime";

struct Answer {
    std::string head;
    std::string body;
};

// One request on a connection of its own: "Connection: close" makes the end of the answer plain.
static Answer request(const std::string &method, const std::string &path, const std::string &body) {
    const std::string api = getenv("AWS_LAMBDA_RUNTIME_API");
    const auto colon = api.rfind(':');
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(api.substr(colon + 1))));
    inet_pton(AF_INET, api.substr(0, colon).c_str(), &address.sin_addr);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
        throw std::runtime_error("no Runtime API");
    const std::string text = method + " " + path + " HTTP/1.1\r\nHost: " + api +
        "\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    for (size_t sent = 0; sent < text.size();) {
        const ssize_t count = write(fd, text.data() + sent, text.size() - sent);
        if (count <= 0) throw std::runtime_error("the Runtime API hung up");
        sent += static_cast<size_t>(count);
    }
    std::string all;
    char piece[4096];
    for (ssize_t count; (count = read(fd, piece, sizeof piece)) > 0;)
        all.append(piece, static_cast<size_t>(count));
    close(fd);
    const auto end = all.find("\r\n\r\n");
    if (end == std::string::npos) throw std::runtime_error("not an answer");
    return {all.substr(0, end), all.substr(end + 4)};
}

static std::string header(const Answer &answer, const std::string &name) {
    for (size_t at = 0; at < answer.head.size();) {
        const auto end = std::min(answer.head.find("\r\n", at), answer.head.size());
        const auto colon = answer.head.find(':', at);
        if (colon < end && colon - at == name.size() &&
            strncasecmp(answer.head.c_str() + at, name.c_str(), name.size()) == 0)
            return answer.head.substr(colon + 2, end - colon - 2);
        at = end + 2;
    }
    return "";
}

// The member of this name: strings without escapes and numbers are all that payloads here have.
static std::string member(const std::string &json, const std::string &name) {
    auto at = json.find("\"" + name + "\"");
    if (at == std::string::npos) return "";
    at = json.find_first_not_of(": ", at + name.size() + 2);
    if (json[at] == '"') return json.substr(at + 1, json.find('"', at + 1) - at - 1);
    return json.substr(at, json.find_first_of(",}] ", at) - at);
}

static void say_lines(const std::string &json, const std::string &id) {
    auto at = json.find("\"lines\"");
    if (at == std::string::npos) return;
    const auto end = json.find(']', at);
    for (at = json.find('"', json.find('[', at)); at < end; at = json.find('"', at + 1)) {
        const auto close = json.find('"', at + 1);
        std::string line = json.substr(at + 1, close - at - 1);
        if (const auto mark = line.find("{id}"); mark != std::string::npos)
            line.replace(mark, 4, id);
        std::cout << line << std::endl;
        at = close;
    }
}

static std::vector<std::unique_ptr<char[]>> touch(int mb) {
    std::vector<std::unique_ptr<char[]>> held;
    for (int count = 0; count < mb; count++) {
        held.emplace_back(new char[1 << 20]);
        memset(held.back().get(), 1, 1 << 20);
    }
    return held;
}

// More than any address space holds, in a way that no compiler removes.
static volatile size_t huge = size_t{1} << 46;

static void perform(const std::string &behavior, const std::string &json) {
    const std::string number = member(json, "code"), mb = member(json, "mb");
    if (behavior == "kill" || behavior == "grow") touch(1 << 20);
    if (behavior == "bad-alloc") std::cout << new char[huge] << std::endl;
    if (behavior == "length-error") std::vector<char>().reserve(huge << 17);
    if (behavior == "handled") {
        try {
            std::cout << new char[huge] << std::endl;
        } catch (const std::bad_alloc &error) {
            std::cerr << "served without a cache: " << error.what() << std::endl;
        }
    }
    if (behavior == "near-limit") touch(mb.empty() ? 64 : std::stoi(mb));
    if (behavior == "crash") _exit(number.empty() ? 1 : std::stoi(number));
    if (behavior == "throw") throw std::runtime_error("asked for");
    if (behavior == "segfault") *static_cast<volatile int *>(nullptr) = 1;
    if (behavior == "abort") abort();
    if (behavior == "timeout") sleep(3600);
}

int main() {
    if (const char *what = getenv("SANDBOX_INIT"); what && strcmp(what, "kill") == 0)
        touch(1 << 20);
    for (;;) {
        const Answer next = request("GET", std::string(RUNTIME) + "/invocation/next", "");
        const std::string id = header(next, "Lambda-Runtime-Aws-Request-Id");
        const std::string behavior = member(next.body, "behavior");
        const std::string path = std::string(RUNTIME) + "/invocation/" + id;
        say_lines(next.body, id);
        if (behavior == "error") {
            request("POST", path + "/error", R"({"errorMessage":"asked for","errorType":"E"})");
        } else {
            perform(behavior, next.body);
            request("POST", path + "/response", "{\"status\":\"ok\"}");
        }
    }
}
