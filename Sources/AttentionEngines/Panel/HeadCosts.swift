import AttentionContract
import AttentionKernels
import Tensors

/// What each panel of one key/value head costs in one pass.
struct HeadCosts {
  /// Rows that travel together, with the costs of their panels.
  struct Class {
    let lanes: Int
    let panels: [Int]
  }

  let classes: [Class]
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
    longestClass = classes.reduce(0) { max($0, $1.panels.count) }
    total = classes.reduce(0) { $0 + $1.panels.reduce(0, +) }
  }

  /// Tasks of at most `panels` panels.
  func leastTasks(of panels: Int) -> Int {
    classes.reduce(0) { $0 + ($1.panels.count + panels - 1) / panels }
  }

  /// Cuts the head into tasks, the largest first.
  ///
  /// - Parameters:
  ///   - panels: most panels of a task.
  ///   - share: a task costs at most one of so many parts of what is left, if that is a panel.
  ///   - left: what is left of the stage; lessened by this head.
  func tasks(
    batch: Int, kvHead: Int, panels limit: Int, share: Int, left: inout Int
  ) -> [PanelTask] {
    var tasks: [PanelTask] = []
    for (firstRow, rows) in classes.enumerated() {
      var rest = rows.panels.indices
      // Costly panels first.
      let isBackwards = (rows.panels.last ?? 0) > (rows.panels.first ?? 0)
      while !rest.isEmpty {
        var count = 0
        var cost = 0
        while count < min(limit, rest.count) {
          let next = rows.panels[
            isBackwards ? rest.upperBound - 1 - count : rest.lowerBound + count]
          if count > 0, cost + next > left / share { break }
          cost += next
          count += 1
        }
        let range = isBackwards ? rest.suffix(count) : rest.prefix(count)
        rest = isBackwards ? rest.dropLast(count) : rest.dropFirst(count)
        left -= cost
        tasks.append(
          PanelTask(
            batch: batch, kvHead: kvHead, firstRow: firstRow, panels: range, lanes: rows.lanes,
            cost: cost))
      }
    }
    return tasks.sorted { $0.cost > $1.cost }
  }
}

extension PatternTable {
  /// Key places that a panel visits, over all sequences, without the tiles that mask or bias hide from
  /// all its rows, and a little for the panel itself: what neighbouring rows see together from the
  /// first place to the last.
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
      let keys = pass.sequences[firstRow * pass.sequenceCount + index]
      let cost = { (places: Range<Int32>) -> Int in
        guard let map, keys.isConsecutive, !places.isEmpty else { return places.count }
        return map.visibleKeys(
          batch, heads: heads, rows: (first...last).map { firstRow + $0 * pass.rowStride },
          keys: keys.start + Int(places.lowerBound)..<keys.start + Int(places.upperBound))
      }
      var together: Range<Int32> = 0..<0
      for row in first...last {
        let place = index * geometry.queryLength + firstRow + row * pass.rowStride
        let own = pass.lower[place]..<pass.upper[place]
        if own.isEmpty { continue }
        if together.isEmpty
          || own.lowerBound > together.upperBound || own.upperBound < together.lowerBound
        {
          total += cost(together)
          together = own
        } else {
          together =
            min(together.lowerBound, own.lowerBound)..<max(together.upperBound, own.upperBound)
        }
      }
      total += cost(together)
    }
    return total
  }
}
