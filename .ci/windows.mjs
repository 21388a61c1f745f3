// Fails unless this is Windows; a condition that all shells understand.
process.exitCode = process.platform === 'win32' ? 0 : 1;
