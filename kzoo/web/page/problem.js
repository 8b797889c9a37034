// What the user can mend: its message is one line for the page.
export class Problem extends Error {}
