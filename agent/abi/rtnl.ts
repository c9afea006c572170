// What netlink says: netlink(7), rtnetlink(7), include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,neighbour,if}.h. See abi/flags.ts.

export const enum NETLINK { ROUTE = 0, KOBJECT_UEVENT = 15, CAP_ACK = 10, EXT_ACK = 11 }
export const enum NLM { F_REQUEST = 1, F_ACK = 4, F_DUMP_INTR = 0x10, F_REPLACE = 0x100, F_ACK_TLVS = 0x200, F_DUMP = 0x300, F_CREATE = 0x400 }
export const enum NLMSG { ERROR = 2, DONE = 3 }
export const enum NLMSGERR { ATTR_MSG = 1 }
export const enum NLA { HDRLEN = 4, TYPE_MASK = 0x3fff }

export const enum RTM {
  NEWLINK = 16, GETLINK = 18, SETLINK = 19, NEWADDR = 20, GETADDR = 22, NEWROUTE = 24, DELROUTE = 25, GETROUTE = 26, NEWNEIGH = 28, GETNEIGH = 30, F_CLONED = 0x200,
}
export const enum IFLA { ADDRESS = 1, IFNAME = 3, MTU = 4, NET_NS_FD = 28, EXT_MASK = 29 }
export const enum RTEXT { FILTER_SKIP_STATS = 8 }
export const enum IFF { UP = 1, NOARP = 0x80 }
export const enum IFA { ADDRESS = 1, LOCAL = 2, BROADCAST = 4, FLAGS = 8, F_PERMANENT = 0x80 }
export const enum RTA { DST = 1, SRC = 2, OIF = 4, GATEWAY = 5, PRIORITY = 6, PREFSRC = 7, METRICS = 8, TABLE = 15 }
export const enum RTAX { MTU = 2 }
export const enum RTN { UNICAST = 1 }
export const enum RTNH { F_PERVASIVE = 2, F_ONLINK = 4 }
export const enum RTPROT { BOOT = 3 }
export const enum RT { SCOPE_UNIVERSE = 0, TABLE_MAIN = 254 }
export const enum NDA { DST = 1, LLADDR = 2 }
export const enum NUD { PERMANENT = 0x80 }
/** The longest name of a link, with its NUL. */
export const enum IF { NAMSIZ = 16 }
