// What a program in Go does with the front door: pgx, client WORKFLOW.  One JSON object on standard output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type order struct {
	Order string `json:"order"`
}

func main() {
	ctx := context.Background()
	workflow := os.Args[1]
	out := map[string]string{}
	db, err := pgx.Connect(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close(ctx)

	closed := errors.New("the shop has closed")
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into orders values ('go-rolled-back')"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select hatchet.enqueue($1, $2)", workflow, order{"go-rolled-back"}); err != nil {
			return err
		}
		return closed
	})
	if err != closed {
		log.Fatal(err)
	}

	var id string
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into orders values ('go')"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "select hatchet.enqueue($1, $2, priority => 3, additional_metadata => $3)::text", workflow,
			order{"go"}, map[string]string{"by": "go"}).Scan(&id)
	})
	if err != nil {
		log.Fatal(err)
	}
	out["run"] = id

	_, err = db.Exec(ctx, "select hatchet.enqueue($1, priority => 9)", workflow)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "22023" {
		log.Fatal(err)
	}
	out["error"] = refused.Message
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		log.Fatal(err)
	}
}
