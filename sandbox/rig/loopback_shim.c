/* SPDX-FileCopyrightText: 2026 Live Transcription contributors
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Preloaded into Janus, which (by libnice) skips loopback interfaces when it gathers candidates: takes the flag off them.
 * With RIG_UDP_PEERS=FIRST-LAST it also swallows every UDP packet to another port of the loopback than those, so that only
 * peers behind the TURN server's relay ports can be reached.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int getifaddrs(struct ifaddrs **list) {
    int (*real)(struct ifaddrs **) = dlsym(RTLD_NEXT, "getifaddrs");
    int result = real(list);
    if (result == 0)
        for (struct ifaddrs *each = *list; each; each = each->ifa_next)
            each->ifa_flags &= ~(unsigned)IFF_LOOPBACK;
    return result;
}

static int swallowed(int fd, const struct sockaddr *peer, socklen_t length) {
    const char *range = getenv("RIG_UDP_PEERS");
    int type = 0, first = 0, last = 0;
    socklen_t size = sizeof type;
    if (!range || !peer || length < sizeof(struct sockaddr_in) || peer->sa_family != AF_INET)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_DGRAM)
        return 0;
    if (sscanf(range, "%d-%d", &first, &last) != 2)
        return 0;
    int port = ntohs(((const struct sockaddr_in *)peer)->sin_port);
    return port < first || port > last;
}

static ssize_t total(const struct msghdr *message) {
    ssize_t bytes = 0;
    for (size_t i = 0; i < (size_t)message->msg_iovlen; i++)
        bytes += (ssize_t)message->msg_iov[i].iov_len;
    return bytes;
}

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *peer, socklen_t length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return swallowed(fd, peer, length) ? (ssize_t)size : real(fd, bytes, size, flags, peer, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    return swallowed(fd, message->msg_name, message->msg_namelen) ? total(message) : real(fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    int (*real)(int, struct mmsghdr *, unsigned, int) = dlsym(RTLD_NEXT, "sendmmsg");
    if (count == 0 || !swallowed(fd, messages[0].msg_hdr.msg_name, messages[0].msg_hdr.msg_namelen))
        return real(fd, messages, count, flags);
    for (unsigned i = 0; i < count; i++)
        messages[i].msg_len = (unsigned)total(&messages[i].msg_hdr);
    return (int)count;
}
