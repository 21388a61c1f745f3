import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The Chromium that tests drive; `undefined` where it is not installed. */
export const chromium = find('chromium') ?? find('google-chrome');

function find(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
