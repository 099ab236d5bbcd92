/* An answer of whoever is on the network, to the question of transaction 1.2.3.4. */
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[MAC_BYTES] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    char *copy = copy_of(data, size, 0);
    struct lease lease = {0};
    uint32_t xid;

    memcpy(&xid, "\1\2\3\4", 4);
    enum dhcp_type type = dhcp_read((uint8_t *)copy, size, xid, mac, &lease);
    MUST(type == DHCP_NONE || type == DHCP_OFFER || type == DHCP_ACK || type == DHCP_NAK);
    MUST(lease.dns_count >= 0 && lease.dns_count <= MOST_DNS);
    free(copy);
    return 0;
}
