// The modules that agent/oci loads when it first needs them, for tests on Node. Import it before any module of agent/.
import { provide } from "./fake-native.js";
import * as checkHooks from "../../agent/oci/check-hooks.js";
import * as intelRdt from "../../agent/oci/intel-rdt.js";
import * as netDevices from "../../agent/oci/net-devices.js";
import * as schedule from "../../agent/oci/schedule.js";
import * as sysctl from "../../agent/oci/sysctl.js";

provide("oci__check-hooks.js", checkHooks);
provide("oci__intel-rdt.js", intelRdt);
provide("oci__net-devices.js", netDevices);
provide("oci__schedule.js", schedule);
provide("oci__sysctl.js", sysctl);
