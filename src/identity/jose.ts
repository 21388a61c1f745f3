/** The package that verifies signatures, in the version that is installed beside this one. */
export type Jose = typeof import('jose');

/**
 * Loads `jose`, which only those need who verify tokens.
 *
 * @throws Error that says how to install it.
 */
export async function loadJose(factory: string): Promise<Jose> {
  try {
    return await import('jose');
  } catch (cause) {
    throw new Error(
      `${factory}: needs the package "jose" (and Node 20.19 or later): npm install jose`,
      { cause },
    );
  }
}
