// JSON text to the types of spec.ts. For now only that it is JSON: the shapes are not checked yet.
import type { Spec, Process, Resources } from "./spec.js";
export function parseSpec(text: string): Spec { return JSON.parse(text) as Spec; }
export function parseProcess(text: string): Process { return JSON.parse(text) as Process; }
export function parseResources(text: string): Resources { return JSON.parse(text) as Resources; }
