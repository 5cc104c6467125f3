import AttentionBench
import Foundation
import Testing

@Suite("Reading and writing results")
struct RecordFileTests {
  @Test(
    "Any text in a cell survives the file",
    arguments: [
      "plain", "a,b", "say \"no\"", "\"", "two\nlines", "cr\rlf\r\n", " padded ", "ünï→ 你好", ",",
      "\n",
      "predicted 412 s > --cell-timeout 60s (from 32 s at 28000, slope 2.01)",
      "line\u{2028}end\u{0B}", "\u{301}", "\"\u{301}", "a,\u{301}b", "a\u{301}\n\u{301}",
    ])
  func text(_ text: String) throws {
    try withTemporaryDirectory { path in
      let rows = [
        ResultRow.measured(status: .error, reason: text), ResultRow.measured(n: 2000),
      ]
      let directory = try RunDirectory(path: path, resuming: false)
      for row in rows { try directory.append(row) }
      let file = try RunDirectory.readResults(in: path)
      #expect(file.rows == rows)
      #expect(file.notes.isEmpty)
    }
  }

  @Test("Wherever a kill tears the last line, the rows before it are read and resumed")
  func tornLine() throws {
    try withTemporaryDirectory { path in
      let layout = RunDirectory.Layout(path)
      let kept = ResultRow.measured()
      let torn = ResultRow.measured("window", n: 2000, status: .error, reason: "two\nlines, \"q\"")
      do {
        let directory = try RunDirectory(path: path, resuming: false)
        try directory.append(kept)
        try directory.append(torn)
      }
      let whole = try Data(contentsOf: URL(fileURLWithPath: layout.results))
      let header = ResultRow.header.joined(separator: ",").utf8.count + 1
      let first = header + kept.fields.joined(separator: ",").utf8.count + 1
      for length in (first + 1)..<whole.count {
        try whole.prefix(length).write(to: URL(fileURLWithPath: layout.results))
        let file = try RunDirectory.readResults(in: path)
        #expect(file.rows == [kept])
        #expect(file.notes.count == 1)
      }
      let resumed = try RunDirectory(path: path, resuming: true)
      #expect(resumed.earlierRows == [kept])
      #expect(resumed.notes.count == 1)
      try resumed.append(torn)
      let file = try RunDirectory.readResults(in: path)
      #expect(file.rows == [kept, torn])
      #expect(file.notes.isEmpty)
    }
  }

  @Test("Columns are found by name: other orders and more columns do no harm")
  func columnOrder() throws {
    try withTemporaryDirectory { path in
      let row = ResultRow.measured()
      let names = Array(ResultRow.header.reversed()) + ["from_the_future"]
      let cells = Array(row.fields.reversed()) + ["42"]
      try write([names, cells], to: path + "/results.csv")
      #expect(try RunDirectory.readResults(in: path).rows == [row])
      #expect(throws: RecordError.columnsDiffer(path: path + "/results.csv")) {
        try RunDirectory(path: path, resuming: true)
      }
    }
  }

  @Test("A missing column is named")
  func missingColumn() throws {
    try withTemporaryDirectory { path in
      try write([ResultRow.header.filter { $0 != "pct_of_peak" }], to: path + "/results.csv")
      #expect(
        throws: RecordError.missingColumn(path: path + "/results.csv", column: "pct_of_peak")
      ) { try RunDirectory.readResults(in: path) }
    }
  }

  @Test("A cell that holds something else is named with its row and column")
  func malformedCell() throws {
    try withTemporaryDirectory { path in
      var cells = ResultRow.measured().fields
      cells[9] = "many"
      let rows = [ResultRow.header, ResultRow.measured().fields, cells]
      try write(rows, to: path + "/results.csv")
      let error = #expect(throws: RecordError.self) { try RunDirectory.readResults(in: path) }
      #expect(
        error?.description
          == "\(path)/results.csv, row 2, column 'n_q': 'many' is not a whole number; "
          + "correct or delete the row")
    }
  }

  @Test("Rows of a later version are refused, since their columns may mean something else")
  func laterVersion() throws {
    try withTemporaryDirectory { path in
      var row = ResultRow.measured()
      row.schemaVersion = 2
      try write([ResultRow.header, row.fields], to: path + "/results.csv")
      #expect(throws: RecordError.newerSchema(path: path + "/results.csv", version: 2)) {
        try RunDirectory.readResults(in: path)
      }
    }
  }

  @Test("A file that is no CSV is an error, not a crash")
  func notCSV() throws {
    try withTemporaryDirectory { path in
      try Data("a\"b\"c\n\u{0}\"x\"y\n".utf8).write(to: URL(fileURLWithPath: path + "/results.csv"))
      #expect(throws: RecordError.self) { try RunDirectory.readResults(in: path) }
      try Data([0xFF, 0xFE, 0x0A]).write(to: URL(fileURLWithPath: path + "/results.csv"))
      #expect(throws: RecordError.self) { try RunDirectory.readResults(in: path) }
    }
  }

  private func write(_ rows: [[String]], to path: String) throws {
    let text = rows.map { $0.joined(separator: ",") + "\n" }.joined()
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
  }
}
