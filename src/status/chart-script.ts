/** The charts of the page: lines over the last five minutes, newest at the right. */
export const chartScript = `
const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 300;
const HEIGHT = 60;

/** Draws lines, each { values, name, isFilled }, over so many points on one scale, and tells its top. */
function draw(svg, points, lines) {
  const top = Math.max(1e-9, ...lines.flatMap(({ values }) => values));
  if (svg.childElementCount === 0) {
    svg.setAttribute('viewBox', '0 0 ' + WIDTH + ' ' + HEIGHT);
    svg.setAttribute('preserveAspectRatio', 'none');
    for (const { name, isFilled } of lines) {
      if (isFilled) addPath(svg, 'fill');
      addPath(svg, name);
    }
  }
  let next = svg.firstElementChild;
  for (const { values, isFilled } of lines) {
    if (isFilled) {
      next.setAttribute('d', area(values, points, top));
      next = next.nextElementSibling;
    }
    next.setAttribute('d', line(values, points, top));
    next = next.nextElementSibling;
  }
  return top > 1e-9 ? top : 0;
}

function addPath(svg, name) {
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('class', name);
  svg.append(path);
}

/** A gap in the values is a gap in the line. */
function line(values, points, top) {
  let path = '';
  let isDrawing = false;
  values.forEach((value, i) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    path += (isDrawing ? 'L' : 'M') + place(i, values.length, points) + ' ' + level(value, top);
    isDrawing = true;
  });
  return path;
}

function area(values, points, top) {
  if (values.length === 0) return '';
  const last = values.length - 1;
  const heights = values.map((value, i) => {
    return 'L' + place(i, values.length, points) + ' ' + level(value ?? 0, top);
  });
  const first = place(0, values.length, points);
  return 'M' + first + ' ' + HEIGHT + heights.join('') + 'L' + place(last, values.length, points) + ' ' + HEIGHT + 'Z';
}

function place(i, count, points) {
  return (WIDTH - ((count - 1 - i) * WIDTH) / (points - 1)).toFixed(1);
}

function level(value, top) {
  return (HEIGHT - (value / top) * (HEIGHT - 2)).toFixed(1);
}
`;
