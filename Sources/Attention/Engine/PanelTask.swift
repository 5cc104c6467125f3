/// A piece of a pass for one worker: some consecutive panels of one class of rows of one
/// key/value head.
struct PanelTask: Sendable {
  /// Batch entry.
  let batch: Int
  /// Key/value head; the task covers all query heads that share it.
  let kvHead: Int
  /// First query row of the class, which also is the class's number.
  let firstRow: Int
  /// First panel of the class, and how many.
  let panels: Range<Int>
  /// Query rows of the class times query heads that share the key/value head.
  let lanes: Int
  /// Key places visited, for sorting.
  let cost: Int
}

/// Splits the passes of a pattern into tasks: head by head, the longest sequences first, within a
/// head the largest first.
///
/// Dealt in that order from an atomic counter, workers share the keys of one head in the cache, and
/// the tasks that end a stage are the smallest of theirs, so that neither a causal triangle nor a
/// batch of unequal sequences leaves a core idle at the end. Which worker gets which task has no
/// influence on the result: a panel's arithmetic is the same in any task.
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
    // Heads differ only where a mask tells them apart.
    let distinct = (map?.axes.heads ?? 1) == 1 ? 1 : shape.kvHeads
    // [pass][batch * kvHead]: one head's panels, then its tasks.
    let costs = passes.map { pass in
      tables.enumerated().flatMap { batch, table in
        let heads = (0..<distinct).map { kvHead in
          HeadCosts(
            table, map: map, pass: pass, batch: batch,
            heads: kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize,
            panelLanes: panelLanes)
        }
        return (0..<shape.kvHeads).map { heads[$0 % distinct] }
      }
    }
    let tasks = costs.map { costs in
      TaskList.tasks(costs, kvHeads: shape.kvHeads, limit: panels, threads: threads)
    }
    let total = costs[0].indices.map { head in costs.reduce(0) { $0 + $1[head].total } }
    // Longer sequences of a batch first.
    let order = total.indices.filter { total[$0] > 0 }
      .sorted { (total[$1], $0) < (total[$0], $1) }
    var stages: [Stage] = []
    var next = order.startIndex
    while next < order.endIndex {
      var stage = passes.map { _ in [PanelTask]() }
      // Workers wait for each other after every stage: enough tasks to make that a small part.
      while next < order.endIndex,
        passes.count == 1 || stage.contains(where: { $0.count < 8 * threads })
      {
        for pass in passes { stage[pass] += tasks[pass][order[next]] }
        next += 1
      }
      stages += passes.map { Stage(pass: $0, tasks: stage[$0]) }
    }
    self.stages = stages
  }

  /// The tasks of each key/value head of each batch entry, largest first.
  ///
  /// Whole heads where they divide evenly among the workers and fit; otherwise small enough that
  /// the last task of a pass is a small part of a worker's share: larger tasks use each block of keys
  /// more often.
  private static func tasks(
    _ entries: [HeadCosts], kvHeads: Int, limit: Int, threads: Int
  ) -> [[PanelTask]] {
    let total = entries.reduce(0) { $0 + $1.total }
    let isEven = entries.allSatisfy { $0.total == entries[0].total }
    let divides = isEven && entries.count * entries[0].classes.count % threads == 0
    return entries.enumerated().map { index, head in
      let share = Double(total) / Double(12 * threads)
      let panels = Int(share * Double(head.panelCount) / Double(max(head.total, 1)))
      let perTask =
        divides && head.longestClass <= limit ? head.longestClass : min(max(panels, 1), limit)
      return head.tasks(
        batch: index / kvHeads, kvHead: index % kvHeads, panelsPerTask: perTask
      ).sorted { $0.cost > $1.cost }
    }
  }
}

/// What each panel of one key/value head costs in one pass.
private struct HeadCosts {
  /// Rows that travel together, with the costs of their panels.
  struct Class {
    let lanes: Int
    let panels: [Int]
  }

  let classes: [Class]
  let panelCount: Int
  let longestClass: Int
  let total: Int

  init(
    _ table: PatternTable, map: TileMap?, pass: Int, batch: Int, heads: Range<Int>,
    panelLanes: Int
  ) {
    classes = (0..<table.passes[pass].classCount).map { firstRow in
      let lanes = table.rowCount(pass: pass, firstRow: firstRow) * heads.count
      return Class(
        lanes: lanes,
        panels: (0..<(lanes + panelLanes - 1) / panelLanes).map {
          table.span(
            pass: pass, firstRow: firstRow, lanes: lanes, panel: $0, panelLanes: panelLanes,
            map: map, batch: batch, heads: heads)
        })
    }
    panelCount = classes.reduce(0) { $0 + $1.panels.count }
    longestClass = classes.reduce(0) { max($0, $1.panels.count) }
    total = classes.reduce(0) { $0 + $1.panels.reduce(0, +) }
  }

  func tasks(batch: Int, kvHead: Int, panelsPerTask: Int) -> [PanelTask] {
    classes.enumerated().flatMap { firstRow, rows in
      stride(from: 0, to: rows.panels.count, by: panelsPerTask).map { first in
        let range = first..<min(first + panelsPerTask, rows.panels.count)
        return PanelTask(
          batch: batch, kvHead: kvHead, firstRow: firstRow, panels: range, lanes: rows.lanes,
          cost: rows.panels[range].reduce(0, +))
      }
    }
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
