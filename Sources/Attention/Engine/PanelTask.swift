/// A piece of a pass for one worker: some consecutive panels of one class of rows of one
/// key/value head.
struct PanelTask: Sendable {
  /// Batch entry.
  let batch: Int
  /// Key/value head; the task covers all query heads that share it.
  var kvHead: Int
  /// First query row of the class, which also is the class's number.
  let firstRow: Int
  /// First panel of the class, and how many.
  let panels: Range<Int>
  /// Query rows of the class times query heads that share the key/value head.
  let lanes: Int
  /// Key places visited, for sorting.
  let cost: Int

  /// The same piece of another key/value head.
  func moved(to kvHead: Int) -> PanelTask {
    var task = self
    task.kvHead = kvHead
    return task
  }
}

/// Splits the passes of a pattern into tasks: head by head, within a head the largest first.
///
/// Dealt in that order from an atomic counter, workers share the keys of one head in the cache, and
/// the tasks that end a stage are the smallest of theirs, so that a causal triangle leaves every
/// core busy to the end. Which worker gets which task has no influence on the result: a panel's
/// arithmetic is the same in any task.
struct TaskList {
  /// Tasks that may run at the same time: of one pass, for some heads.
  struct Stage: Sendable {
    let pass: Int
    let tasks: [PanelTask]
  }

  /// In the order in which they must run. With several passes, all of them over a few heads come
  /// before the next heads, so that a later pass finds its operands in the last-level cache.
  let stages: [Stage]

  /// - Parameters:
  ///   - tables: the pattern of each batch entry.
  ///   - map: what mask and bias leave of it.
  ///   - panelLanes: query rows in a panel.
  ///   - panels: most panels in a task.
  init(
    tables: [PatternTable], map: TileMap?, shape: AttentionShape, panelLanes: Int, panels: Int,
    threads: Int
  ) {
    let passes = tables[0].passes.indices
    // [batch * kvHead][pass]: one head's tasks. Heads differ only where a mask tells them apart.
    let heads = tables.enumerated().flatMap { batch, table in
      let distinct = (0..<((map?.axes.heads ?? 1) == 1 ? 1 : shape.kvHeads)).map { kvHead in
        passes.map { pass in
          TaskList.tasks(
            table, map: map, pass: pass, batch: batch, kvHead: kvHead, shape: shape,
            panelLanes: panelLanes, panels: panels, threads: threads)
        }
      }
      return (0..<shape.kvHeads).map { kvHead in
        distinct[kvHead % distinct.count].map { $0.map { $0.moved(to: kvHead) } }
      }
    }
    // Longer sequences of a batch first.
    let cost = heads.map { passes in
      passes.reduce(0) { $0 + $1.reduce(0) { $0 + $1.cost } }
    }
    let order = heads.indices.sorted { (cost[$1], $0) < (cost[$0], $1) }
    let fewest = passes.map { pass in heads.map { $0[pass].count }.min() ?? 1 }.min() ?? 1
    // Workers wait for each other after every stage: enough tasks to make that a small part.
    let perStage =
      passes.count == 1 ? order.count : max((8 * threads + fewest - 1) / max(fewest, 1), 1)
    stages = stride(from: 0, to: order.count, by: perStage).flatMap { first in
      passes.map { pass in
        Stage(
          pass: pass,
          tasks: order[first..<min(first + perStage, order.count)].flatMap { heads[$0][pass] })
      }
    }
  }

  /// One key/value head's tasks, largest first.
  private static func tasks(
    _ table: PatternTable, map: TileMap?, pass: Int, batch: Int, kvHead: Int,
    shape: AttentionShape, panelLanes: Int, panels: Int, threads: Int
  ) -> [PanelTask] {
    let perTask = panelsPerTask(
      table, pass: pass, shape: shape, panelLanes: panelLanes, limit: panels, threads: threads,
      isEven: map == nil)
    let heads = kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize
    var tasks: [PanelTask] = []
    for firstRow in 0..<table.passes[pass].classCount {
      let lanes = table.rowCount(pass: pass, firstRow: firstRow) * shape.groupSize
      let count = (lanes + panelLanes - 1) / panelLanes
      for first in stride(from: 0, to: count, by: perTask) {
        let range = first..<min(first + perTask, count)
        let cost = range.reduce(0) {
          $0
            + table.span(
              pass: pass, firstRow: firstRow, lanes: lanes, panel: $1, panelLanes: panelLanes,
              map: map, batch: batch, heads: heads)
        }
        tasks.append(
          PanelTask(
            batch: batch, kvHead: 0, firstRow: firstRow, panels: range, lanes: lanes,
            cost: cost))
      }
    }
    return tasks.sorted { $0.cost > $1.cost }
  }

  /// Whole heads when they cost the same, divide evenly among the workers and fit; otherwise small enough that
  /// the last task of a pass is a small part of a worker's share: larger tasks use each block of keys
  /// more often.
  private static func panelsPerTask(
    _ table: PatternTable, pass: Int, shape: AttentionShape, panelLanes: Int, limit: Int,
    threads: Int, isEven: Bool
  ) -> Int {
    let stride = table.passes[pass].rowStride
    let lanes = (shape.queryLength + stride - 1) / stride * shape.groupSize
    let panels = (lanes + panelLanes - 1) / panelLanes
    let classes = shape.batch * shape.kvHeads * table.passes[pass].classCount
    if isEven, panels <= limit, classes % threads == 0 || classes >= 64 * threads { return panels }
    return min(max(panels * classes / (12 * threads), 1), limit)
  }
}

extension PatternTable {
  /// Key places between the first and the last that a panel visits, over all sequences, without the
  /// tiles that mask or bias hide from all its rows, and a little for the panel itself.
  ///
  /// - Parameter heads: the query heads that share the lanes.
  fileprivate func span(
    pass: Int, firstRow: Int, lanes: Int, panel: Int, panelLanes: Int, map: TileMap?, batch: Int,
    heads: Range<Int>
  ) -> Int {
    let pass = passes[pass]
    let groupSize = heads.count
    var total = 16
    let first = panel * panelLanes / groupSize
    let last = (min((panel + 1) * panelLanes, lanes) - 1) / groupSize
    for index in 0..<pass.sequenceCount {
      var lowest = Int32.max
      var highest = Int32.min
      for row in first...last {
        let place = index * geometry.queryLength + firstRow + row * pass.rowStride
        if pass.lower[place] < pass.upper[place] {
          lowest = min(lowest, pass.lower[place])
          highest = max(highest, pass.upper[place])
        }
      }
      if lowest >= highest { continue }
      let keys = pass.sequences[firstRow * pass.sequenceCount + index]
      if let map, keys.isConsecutive {
        let rows = (first...last).map { firstRow + $0 * pass.rowStride }
        total += map.visibleKeys(
          batch, heads: heads, rows: rows,
          keys: keys.start + Int(lowest)..<keys.start + Int(highest))
      } else {
        total += Int(highest - lowest)
      }
    }
    return total
  }
}
