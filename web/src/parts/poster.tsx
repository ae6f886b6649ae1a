// A concert has no picture: its poster is drawn from its id, always the same.

const HUES = [252, 14, 168, 205, 330, 42, 286, 96];

/** Numbers in [0, 1) that follow from a seed. */
function numbers(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

export function Poster({ id, category }: { id: number; category: string }) {
  const next = numbers(id);
  next();
  const hue = HUES[(id - 1) % HUES.length] ?? 252;
  const second = (hue + 20 + Math.floor(next() * 36)) % 360;
  const shapes = Array.from({ length: 4 }, (_, at) => {
    const x = 10 + next() * 80;
    const radius = 12 + next() * 26;
    return { x, y: 78 - at * 16 + next() * 14, radius, light: 36 + at * 10, hue: at % 2 ? second : hue };
  });
  const lines = category.toUpperCase() === "CLASSICAL";
  return (
    <svg class="poster" viewBox="0 0 100 100" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      <rect width="100" height="100" fill={`hsl(${hue} 34% 24%)`} />
      {lines
        ? Array.from({ length: 7 }, (_, at) => (
            <path key={at} d={`M-5 ${20 + at * 11} C 25 ${6 + at * 11 + next() * 16}, 60 ${34 + at * 9 - next() * 16}, 105 ${16 + at * 12}`}
              fill="none" stroke={`hsl(${at % 2 ? second : hue} 40% ${50 + at * 5}%)`} stroke-width="1.4" />
          ))
        : shapes.map((shape, at) => (
            <circle key={at} cx={shape.x} cy={shape.y} r={shape.radius} fill={`hsl(${shape.hue} 40% ${shape.light}%)`} fill-opacity="0.82" />
          ))}
    </svg>
  );
}
