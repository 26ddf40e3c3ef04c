"""The programs and configuration files of benches/peers."""

# An inetd program that answers a request, and a CGI program.
ANSWER = r"""
#include <unistd.h>
int main(void)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"
                                 "Connection: close\r\n\r\nHello, World!\n";
    char request[4096];
    return read(0, request, sizeof request) <= 0 || write(1, answer, sizeof answer - 1) < 0;
}
"""
CGI = r"""
#include <unistd.h>
int main(void)
{
    static const char answer[] = "Content-Type: text/plain\nContent-Length: 14\n\nHello, World!\n";
    return write(1, answer, sizeof answer - 1) < 0;
}
"""

LSBAWS = """
[listen.web]
address = "127.0.0.1:{port}"
backlog = 4096
[log]
target = "stderr"
max_rate = 0
[process]
allow_root = true
[limits]
max_connections = {max}
max_connections_per_source = {max}
"""
APACHE = """
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/{port}.pid
ErrorLog {folder}/{port}.log
User www-data
Group www-data
KeepAlive Off
LoadModule {mpm}_module {modules}/mod_mpm_{mpm_file}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
DocumentRoot {folder}/files
<Directory {folder}/files>
Require all granted
</Directory>
"""
APACHE_PREFORK = """
MaxConnectionsPerChild 1
StartServers 32
MinSpareServers 32
MaxSpareServers 64
MaxRequestWorkers 64
"""
APACHE_CGI = """
LoadModule alias_module {modules}/mod_alias.so
LoadModule cgid_module {modules}/mod_cgid.so
ScriptSock {folder}/{port}.cgid
ScriptAlias /program.cgi {folder}/files/cgi-bin/program.cgi
"""
LIGHTTPD = """
server.document-root = "{folder}/files"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-requests = 0
server.modules = ("mod_cgi")
cgi.assign = (".cgi" => "")
"""
NGINX = """
daemon off;
worker_processes 2;
pid {folder}/{port}.pid;
error_log {folder}/{port}.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}/files; }}
}}
"""
XINETD = """
defaults
{{
    cps = 0 0
    instances = UNLIMITED
    per_source = UNLIMITED
}}
service bench
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    bind = 127.0.0.1
    port = {port}
    wait = no
    user = root
    server = {folder}/answer
}}
"""
