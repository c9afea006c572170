// Import it before modules that use the agent's event loop: the loop makes its epoll instance when it is loaded. Every other
// system call still answers ENOSYS.
import { answerCalls } from "./fake-native.js";

const EPOLL_CREATE1 = 291;
const SOME_DESCRIPTOR = 1_000_000;
answerCalls((nr) => (nr === EPOLL_CREATE1 ? SOME_DESCRIPTOR : -38));
