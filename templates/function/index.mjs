// With the event {"grow": true} it runs out of memory.
export const handler = async (event) => {
  const blocks = [];
  while (event.grow) {
    blocks.push(Buffer.alloc(1_000_000, "x"));
  }
  return "fine";
};
