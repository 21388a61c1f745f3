// With `--detectOpenHandles` Jest lists what tests left open, but passes. Here a leak is a failure.
module.exports = function failOnOpenHandles(results) {
  return results.openHandles.length > 0 ? { ...results, success: false } : results;
};
